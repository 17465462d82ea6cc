//! The command line of Thermocline
