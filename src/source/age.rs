//! The age of a state as a metric, computed when metrics are read.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use prometheus_client::encoding::{EncodeMetric, MetricEncoder};
use prometheus_client::metrics::{MetricType, TypedMetric};

/// What grows old when its source is away.
pub trait Aged: Send + Sync {
    /// For how many seconds it may have been out of date; 0 while its source is at work.
    fn age(&self) -> f64;
}

/// The age of a state.
#[derive(Clone, Default)]
pub struct Age(Arc<Mutex<Option<Weak<dyn Aged>>>>);

impl Age {
    /// Shows the age of this state from now on.
    pub fn show<T: Aged + 'static>(&self, state: &Arc<T>) {
        let state: Arc<dyn Aged> = state.clone();
        *self.state() = Some(Arc::downgrade(&state));
    }

    fn state(&self) -> MutexGuard<'_, Option<Weak<dyn Aged>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn seconds(&self) -> f64 {
        let state = self.state().as_ref().and_then(Weak::upgrade);
        state.map_or(0.0, |state| state.age())
    }
}

impl fmt::Debug for Age {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Age({})", self.seconds())
    }
}

impl TypedMetric for Age {
    const TYPE: MetricType = MetricType::Gauge;
}

impl EncodeMetric for Age {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        encoder.encode_gauge(&self.seconds())
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}
