// One gateway under comparison.

export interface RelayRequest {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

export interface RelayContender {
  readonly name: string;
  readonly about: string;
  /** Part → pids whose CPU, with that of all that descend from them, it is; `gateway` is the one that is compared. */
  readonly parts: Readonly<Record<string, readonly number[]>>;
  /** One request for a reply of `tokens`, streamed or whole, ready to be sent; made before the measured time. */
  prepare(count: number, tokens: number, isStreamed: boolean): Promise<RelayRequest[]>;
  stop(): Promise<void>;
}
