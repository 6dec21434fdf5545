//! The real side of the seam. (helper writes)
