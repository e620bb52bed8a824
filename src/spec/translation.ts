/**
 * A part of a QEMU command line that was replaced, because QEMU no longer supports it or withvm
 * implements it differently.
 */
export interface Translation {
  /** Original arguments: `-redir tcp:8080::80`. */
  readonly from: string
  /** Replacement: `hostfwd: [{ guest: 80, host: 8080 }]`. */
  readonly to: string
  readonly reason: string
}
