// Who is alive, faster than a heartbeat's time-out tells: an inference worker renews a lease, and with it is kept what it
// runs. Whoever sees the lease expire hands that back to Temporal.

/** A running attempt of an activity, as Temporal knows it. */
export interface LeasedTask {
  /** Stands for exactly this attempt; base64. */
  readonly token: string;
  readonly workflowId: string;
  readonly runId: string;
  readonly activityId: string;
}

/** Where running activities are held on to. */
export interface TaskLeases {
  /**
   * Until the returned function is called, the task is handed back when this process is lost. Never fails: with Redis away
   * the heartbeat's time-out is what is left.
   */
  hold(task: LeasedTask): () => void;
}

/** A process that has not renewed its lease, and what it ran. */
export interface LostProcess {
  readonly process: string;
  readonly tasks: readonly LeasedTask[];
}
