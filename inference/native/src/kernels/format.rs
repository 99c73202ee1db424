//! Quantised layouts as types, so that a kernel is compiled once for each.

use crate::matrix::QuantLayout;

pub trait Format {
    const LAYOUT: QuantLayout;
    const BYTES: usize = Self::LAYOUT.block_bytes();
    /// The same in the arithmetic of rows
    const ROW_BYTES: usize = Self::LAYOUT.row_block_bytes();
}

macro_rules! formats {
    ($($name:ident),*) => {
        $(
            pub struct $name;
            impl Format for $name {
                const LAYOUT: QuantLayout = QuantLayout::$name;
            }
        )*
    };
}

formats!(Q4, Q4Wide, Q5, Q5Wide, Q6, Q8);

/// The instance of a generic kernel for a layout.
macro_rules! by_layout {
    ($layout:expr, $kernel:ident) => {
        match $layout {
            $crate::matrix::QuantLayout::Q4 => $kernel::<$crate::kernels::format::Q4>,
            $crate::matrix::QuantLayout::Q4Wide => $kernel::<$crate::kernels::format::Q4Wide>,
            $crate::matrix::QuantLayout::Q5 => $kernel::<$crate::kernels::format::Q5>,
            $crate::matrix::QuantLayout::Q5Wide => $kernel::<$crate::kernels::format::Q5Wide>,
            $crate::matrix::QuantLayout::Q6 => $kernel::<$crate::kernels::format::Q6>,
            $crate::matrix::QuantLayout::Q8 => $kernel::<$crate::kernels::format::Q8>,
        }
    };
}

/// A call with a number that its types may depend on.
#[cfg(target_arch = "x86_64")]
macro_rules! with {
    ($n:ident = $value:expr, $call:expr) => {{
        const $n: usize = $value;
        $call
    }};
}

pub(super) use by_layout;
#[cfg(target_arch = "x86_64")]
pub(super) use with;
