//! What a home must offer, and the local home: supervised processes, objects in a folder
