//! What the API server stores, as it may really be stored, is read without loss and written back unchanged.
