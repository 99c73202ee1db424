// Pools and clients that do some things in their own way, and everything else as the one behind them.
import type { QueryConfig } from 'pg';

/** `target` with these methods in the place of its own; its other methods still run on it. */
export function withMethods<Target extends object>(
  target: Target,
  methods: Readonly<Record<string, unknown>>,
): Target {
  return new Proxy(target, {
    get: (whole, name) => {
      if (typeof name === 'string' && name in methods) return methods[name];
      const value: unknown = Reflect.get(whole, name);
      return typeof value === 'function' ? (value.bind(whole) as unknown) : value;
    },
  });
}

/** A statement as pg takes it, either way, in one form. */
export function configOf(statement: string | QueryConfig, values: unknown[] = []): QueryConfig {
  return typeof statement === 'string' ? { text: statement, values } : statement;
}
