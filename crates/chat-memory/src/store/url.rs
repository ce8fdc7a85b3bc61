//! Store URLs: everything about a store in one line.
