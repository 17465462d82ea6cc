//! The API types of thermocline.dev/v1alpha1, their schemas and their rules
