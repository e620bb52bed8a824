/** Options of `vm.fork()` and `forkAll()`. */
export interface ForkOptions {
  /**
   * Name of the children. Several children get numbers: `name-1`, `name-2`.
   * @default name of the parent, with a number if the children have their own identity
   */
  readonly name?: string | undefined
  /**
   * Identity of the children. The clock is set and random numbers differ in both cases.
   *
   * - `'own'`: each child gets its own host name, machine id and SSH keys. Requires an image with
   *   withvm's identity agent, such as `tiny` and `debian`. The SSH server of a guest that was
   *   booted, not cloned, keeps the host key of the parent.
   * - `'same'`: the children keep those of the parent.
   *
   * MAC addresses are those of the parent in both cases: children have networks of their own.
   *
   * @default 'own' if the guest has the identity agent, else 'same'
   */
  readonly identity?: 'own' | 'same' | undefined
  /** Aborts the fork. The parent continues to run. */
  readonly signal?: AbortSignal | undefined
}
