/**
 * @import { Facts, Host } from './host.js'
 * @import { Stats } from './component/interfaces/eventout-stats-types.js'
 */

import { ContainerNotFound } from './index.js';

/**
 * One container in a {@link Snapshot}.
 *
 * @typedef {object} Container
 * @property {string} id
 * @property {bigint} pids Its live tasks (threads).
 * @property {bigint} [cpuNs] Its CPU time, user and system, in nanoseconds. Absent where it has no live thread group.
 * @property {Facts<Stats>} [stats] What the host measures for this container alone. Absent where it can't.
 * @property {string} [error] Why the container could not be read, if it could not.
 */

/**
 * One reading of one sandbox.
 *
 * @typedef {object} Snapshot
 * @property {string} root The ID of the root container.
 * @property {bigint} memoryBytes The memory in use by the whole sandbox, in bytes.
 * @property {bigint} [cgroupCpuNs] The CPU time of the whole sandbox by the account of the host's cgroup, in
 *   nanoseconds. Absent where there is none.
 * @property {Container[]} containers The containers of the sandbox, the root container included, each once.
 * @property {string} [updateMemoryError] Why the sandbox's memory could not be brought up to date, if it could not.
 */

/**
 * A host that answers from one snapshot after the other.
 *
 * @implements {Host}
 */
export class SnapshotHost {
  /** @type {Snapshot} */
  #snapshot = { root: '', memoryBytes: 0n, containers: [] };

  /** @type {Map<string, Container>} */
  #containers = new Map();

  /**
   * From now on the host tells of this one.
   *
   * @param {Snapshot} snapshot
   */
  tell(snapshot) {
    this.#snapshot = snapshot;
    this.#containers = new Map(snapshot.containers.map((container) => [container.id, container]));
  }

  /** @param {string} id */
  #container(id) {
    const container = this.#containers.get(id);
    if (container === undefined) throw new ContainerNotFound();
    return container;
  }

  /** @param {string} id */
  pidsCount(id) {
    const { pids, error } = this.#container(id);
    if (error !== undefined) throw new Error(error);
    return pids;
  }

  updateMemoryUsage() {
    const error = this.#snapshot.updateMemoryError;
    if (error !== undefined) throw new Error(error);
  }

  usage() {
    const { memoryBytes, root, containers } = this.#snapshot;
    /** @type {[string, bigint][]} */
    const cpu = [];
    for (const { id, cpuNs } of containers) {
      if (cpuNs !== undefined) cpu.push([id, cpuNs]);
    }
    return { memory: memoryBytes, containerCount: BigInt(containers.length), rootContainer: root, cpu };
  }

  cgroupCpuUsage() {
    return this.#snapshot.cgroupCpuNs;
  }

  /** @param {string} id */
  containerStats(id) {
    return this.#container(id).stats;
  }
}
