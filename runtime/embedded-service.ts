// What every embedded service is made from and what it gives.
import type { ChildSpec } from './child-spec.ts';
import type { HomeFolder } from './home-folder.ts';
import type { PortBook } from './ports.ts';
import type { FetchContext } from './wheels.ts';

export interface ServiceContext extends FetchContext {
  readonly home: HomeFolder;
  readonly ports: PortBook;
  /** Environment of the service's process. */
  readonly env: Readonly<Record<string, string>>;
}

export interface EmbeddedService {
  /** What clients connect to; the same after every restart. */
  readonly url: string;
  readonly spec: ChildSpec;
  /** A web page of the service, if it has one. */
  readonly uiUrl?: string;
  /** Runs once when the service is ready for the first time. */
  readonly whenReady?: () => Promise<void>;
}
