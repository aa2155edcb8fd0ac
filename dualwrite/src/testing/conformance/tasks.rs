//! What holds for started backfills, wherever they are kept.

use std::sync::Arc;
use std::time::Duration;

use crate::control::Control;
use crate::control::tasks::NewTask;
use crate::error::ErrorKind;
use crate::stages::stage::Side;
use crate::testing::conformance::{NAME, beat, join};

const HOUR: Duration = Duration::from_secs(3_600);

fn task(side: Side) -> NewTask {
    let (actor, reason) = ("ada".to_owned(), "the night is quiet".to_owned());
    NewTask { side, workers: 3, rate: Some(500), stop_after_failures: 9, actor, reason }
}

async fn is_free(control: &dyn Control) -> bool {
    control.load().await.unwrap()[0].started
}

async fn one_is_under_way_on_each_side(control: &dyn Control) {
    let unknown = control.start_task("nobody", &task(Side::New)).await.unwrap_err();
    assert_eq!(unknown.kind(), ErrorKind::UnknownMigration);
    join(control, &beat("a"), false).await.unwrap();
    assert!(!is_free(control).await);
    assert!(control.start_task(NAME, &task(Side::New)).await.unwrap());
    assert!(!control.start_task(NAME, &task(Side::New)).await.unwrap());
    assert!(control.start_task(NAME, &task(Side::Old)).await.unwrap());
    assert!(is_free(control).await);
    let mut tasks = control.tasks(NAME).await.unwrap();
    tasks.sort_by_key(|task| task.side == Side::Old);
    let [new, old] = &tasks[..] else { panic!("{tasks:?}") };
    assert_eq!((new.side, old.side, new.workers, new.rate), (Side::New, Side::Old, 3, Some(500)));
    assert_eq!(new.stop_after_failures, 9);
    assert_eq!((new.actor.as_str(), new.reason.as_str()), ("ada", "the night is quiet"));
    assert_eq!((&new.runner, &new.waiting, new.halted), (&None, &None, false));
}

async fn one_instance_runs_it(control: &dyn Control) {
    join(control, &beat("a"), false).await.unwrap();
    control.start_task(NAME, &task(Side::New)).await.unwrap();
    let take = async |instance: &str, lease| {
        control.take_task(NAME, Side::New, instance, lease).await.unwrap()
    };
    let runner = async || control.tasks(NAME).await.unwrap().remove(0).runner;
    assert!(!control.take_task(NAME, Side::Old, "a", HOUR).await.unwrap());
    assert!(take("a", HOUR).await && !take("b", HOUR).await && take("a", HOUR).await);
    assert!(!is_free(control).await);
    assert_eq!(runner().await.as_deref(), Some("a"));

    control.release_task(NAME, Side::New, "b").await.unwrap(); // it is not b's to leave
    assert!(!is_free(control).await);
    control.release_task(NAME, Side::New, "a").await.unwrap();
    assert!(is_free(control).await);
    assert_eq!(runner().await, None);

    // A lease that runs out, and an instance that leaves.
    assert!(take("b", Duration::ZERO).await && is_free(control).await);
    assert!(take("a", HOUR).await);
    control.leave("a").await.unwrap();
    assert!(is_free(control).await && take("b", HOUR).await);

    control.end_task(NAME, Side::New, "a").await.unwrap();
    assert_eq!(control.tasks(NAME).await.unwrap().len(), 1);
    control.end_task(NAME, Side::New, "b").await.unwrap();
    assert_eq!(control.tasks(NAME).await.unwrap(), []);
}

async fn what_is_halted_waits_for_somebody(control: &dyn Control) {
    join(control, &beat("a"), false).await.unwrap();
    control.start_task(NAME, &task(Side::New)).await.unwrap();
    assert!(control.take_task(NAME, Side::New, "a", Duration::ZERO).await.unwrap());
    control.report_task(NAME, Side::New, "b", Some("not its own"), true).await.unwrap();
    control.report_task(NAME, Side::New, "a", Some("the stage is off"), false).await.unwrap();
    let found = control.tasks(NAME).await.unwrap().remove(0);
    assert_eq!((found.waiting.as_deref(), found.halted), (Some("the stage is off"), false));
    assert!(is_free(control).await);
    control.report_task(NAME, Side::New, "a", None, false).await.unwrap();
    assert_eq!(control.tasks(NAME).await.unwrap().remove(0).waiting, None);

    control.report_task(NAME, Side::New, "a", Some("most keys fail"), true).await.unwrap();
    assert!(!is_free(control).await);
    assert!(!control.take_task(NAME, Side::New, "a", HOUR).await.unwrap());
    let found = control.tasks(NAME).await.unwrap().remove(0);
    assert_eq!((found.waiting.as_deref(), found.halted), (Some("most keys fail"), true));

    assert!(control.start_task(NAME, &task(Side::New)).await.unwrap());
    let found = control.tasks(NAME).await.unwrap().remove(0);
    assert_eq!((found.waiting, found.halted), (None, false));
    assert!(control.take_task(NAME, Side::New, "a", HOUR).await.unwrap());
}

pub(super) async fn suite<F: Future<Output = Arc<dyn Control>>>(fresh: impl Fn() -> F) {
    one_is_under_way_on_each_side(&*fresh().await).await;
    one_instance_runs_it(&*fresh().await).await;
    what_is_halted_waits_for_somebody(&*fresh().await).await;
}
