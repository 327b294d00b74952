import type { Stats } from './component/interfaces/eventout-stats-types.js';

type Scalar = bigint | number | string;

/**
 * A record of the contract as a host may give it: records and lists in it may be left out, which is as if all in
 * them were `none`, and lists may be any iterables. A figure that is `undefined` or `null` is not known.
 */
export type Facts<T> = T extends Scalar | undefined
  ? T
  : T extends BigUint64Array
    ? Iterable<bigint>
    : T extends Uint16Array
      ? Iterable<number>
      : T extends Array<[string, infer V]>
        ? Iterable<[string, Facts<V>]>
        : T extends Array<infer V>
          ? Iterable<Facts<V>>
          : { [K in keyof T as T[K] extends Scalar ? K : never]: T[K] } & {
              [K in keyof T as T[K] extends Scalar ? never : K]?: Facts<NonNullable<T[K]>> | OrNull<T[K]>;
            };

type OrNull<T> = undefined extends T ? null : never;

/** What the containers of a sandbox share. */
export interface SandboxUsage {
  /** The memory in use by the whole sandbox, in bytes. */
  memory: bigint;

  /** The number of containers in the sandbox: the root container counts, and so do those not yet started or ended. */
  containerCount: bigint;

  /** The ID of the sandbox's root container. It may be left out where there is one container. */
  rootContainer?: string | null;

  /**
   * The CPU time, user and system, of each container that has a live thread group, in nanoseconds: a `Map` by their
   * IDs, or a list of pairs, in any order. There is no NUL in an ID.
   */
  cpu: Iterable<[string, bigint]>;
}

/**
 * What tells the component the facts about one sandbox: the functions of the contract's interface `sandbox`.
 *
 * All answers during one call should come from one reading, so that they fit together. Functions answer at once: a
 * promise is no answer. A function that can't answer throws: {@link ContainerNotFound} where there is no such
 * container, anything else where it fails, which reaches the caller as {@link Unavailable} with the text and, as
 * its `cause`, what was thrown. An answer of another type than told here is `Unavailable` too.
 */
export interface Host {
  /**
   * The number of live tasks (threads) of a container. 0 for one that is not yet started, and for one whose tasks
   * have all ended. This is the first function called; where it fails, no other is.
   *
   * @throws {ContainerNotFound} where the sandbox has no container of that ID
   */
  pidsCount(container: string): bigint;

  /** Brings the memory of `usage` up to date, where that takes an effort of its own. What it throws is ignored. */
  updateMemoryUsage(): void;

  /** What the containers of the sandbox share. */
  usage(): SandboxUsage;

  /**
   * The CPU time of the whole sandbox by the account of the host's cgroup, in nanoseconds. `undefined` where there is
   * no such account. An error counts as that.
   */
  cgroupCpuUsage(): bigint | undefined | null;

  /** What the host measures for this container alone. `undefined` where it can only see the whole sandbox. */
  containerStats(container: string): Facts<Stats> | undefined | null;
}
