//! The gRPC status of what the engine and admission refuse.
//!
//! Codes are chosen for what a client should do: RESOURCE_EXHAUSTED is refused before it began and may be sent again
//! after a pause, UNAVAILABLE is a read to resume, FAILED_PRECONDITION needs a person or another node, DATA_LOSS and
//! INTERNAL need a person.

use thermocline_engine::EngineError;
use tonic::{Code, Status};

use crate::admission::AdmissionError;
use crate::telemetry::chain;

/// The status of an engine error.
pub fn of_engine(error: &EngineError) -> Status {
    let code = engine_code(error);
    if matches!(code, Code::Internal | Code::DataLoss) {
        tracing::error!(error = %chain(error), "the storage engine failed a request");
    }
    Status::new(code, chain(error))
}

fn engine_code(error: &EngineError) -> Code {
    match error {
        EngineError::KeyLength { .. }
        | EngineError::ValueLength { .. }
        | EngineError::BatchLength { .. }
        | EngineError::Invalid(_)
        | EngineError::Policy(_) => Code::InvalidArgument,
        // Nothing was begun, and each passes without this client. One does not always pass by itself: the fence of a wipe or
        // an install that failed half way stands until the range is wiped or installed wholly, or the store is opened again.
        EngineError::OutOfSpace { .. } | EngineError::BufferFull { .. } | EngineError::RangeFenced { .. } => {
            Code::ResourceExhausted
        }
        EngineError::StorageFailed { .. } | EngineError::TierDamaged { .. } | EngineError::RangeHeld { .. } => {
            Code::FailedPrecondition
        }
        EngineError::Corrupt { .. } => Code::DataLoss,
        EngineError::UnknownTier { .. } => Code::NotFound,
        EngineError::ScanExpired => Code::Unavailable,
        EngineError::LeaseLost { .. } => Code::Aborted,
        EngineError::Cancelled => Code::Cancelled,
        _ => Code::Internal,
    }
}

/// The status of a call that admission did not let through or whose time was up.
pub fn of_admission(error: &AdmissionError) -> Status {
    let code = match error {
        AdmissionError::QueueFull { .. } | AdmissionError::BytesFull { .. } => Code::ResourceExhausted,
        AdmissionError::ExpiredWaiting | AdmissionError::ExpiredRunning => Code::DeadlineExceeded,
        AdmissionError::Lost { .. } => {
            tracing::error!(%error, "a request was lost");
            Code::Internal
        }
    };
    Status::new(code, error.to_string())
}
