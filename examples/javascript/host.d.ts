import type * as Sandbox from './component/interfaces/eventout-stats-sandbox.js';
import type { Stats } from './component/interfaces/eventout-stats-types.js';

type Scalar = bigint | boolean | number | string | undefined;

/** A record of the contract in which records and lists can be left out. They are then empty. */
export type Facts<T> = T extends Scalar
  ? T
  : T extends BigUint64Array
    ? BigUint64Array | bigint[]
    : T extends Uint16Array
      ? Uint16Array | number[]
      : T extends [string, infer V]
        ? [string, Facts<V>]
        : T extends Array<infer V>
          ? Facts<V>[]
          : { [K in keyof T as T[K] extends Scalar ? K : never]: T[K] } & {
              [K in keyof T as T[K] extends Scalar ? never : K]?: Facts<T[K]>;
            };

/**
 * A host: the functions of the interface `sandbox` of the contract.
 *
 * Functions are synchronous. One that throws an `EventoutError` of the code `container-not-found` returns that error of
 * the contract. Whatever else is thrown, and a result of another type, is the error `unavailable`.
 */
export interface Host extends Omit<typeof Sandbox, 'containerStats'> {
  containerStats(container: string): Facts<Stats> | undefined;
}
