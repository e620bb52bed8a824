/** What a part of a command line became that this QEMU does not take, or that withvm does in a way of its own. */
export interface Translation {
  /** What the command line says: `-redir tcp:8080::80`. */
  readonly from: string
  /** What it became: `hostfwd: [{ guest: 80, host: 8080 }]`. */
  readonly to: string
  readonly reason: string
}
