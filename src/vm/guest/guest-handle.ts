import type { CommandOptions, CommandResult } from '../../channel/command-result.js'
import type { SerialConsole } from '../../channel/serial/serial-console.js'
import type { WaitLimit } from '../../common/wait-limit.js'
import type { Netboot } from '../../net/netboot-server.js'
import type { PowerOffReason } from '../session/session.js'
import type { Ssh } from './ssh-function.js'

/** Invariants of a guest, as its waits use them. */
export interface InvariantChecks {
  /** If true, there are invariants, and the caller is not itself a check. */
  readonly areActive: boolean
  /**
   * Verifies all invariants.
   * @throws {GuestError} INVARIANT_BROKEN for the first broken one, on every call until it is
   *   stopped.
   */
  verify(when: string, signal: AbortSignal | undefined): Promise<void>
}

/** Part of `VM` that checks, waits and matchers use; it does not change the guest. */
export interface GuestHandle {
  readonly ssh: Ssh
  readonly serial: SerialConsole
  readonly timeFactor: number
  /** @internal */
  readonly waitLimit: WaitLimit
  /** @internal */
  readonly commandChannel: 'ssh' | 'agent'
  /** @internal */
  readonly invariants: InvariantChecks
  readonly lost: AbortSignal
  readonly isRunning: boolean
  readonly bootCount: number
  /** @internal */
  readonly lastReadyBoot: number
  readonly hasNetboot: boolean
  readonly netboot: Netboot
  url(guestPort: number, path?: string): string
  exec(command: string, options?: CommandOptions): Promise<CommandResult>
  screenshot(): Promise<Buffer>
  /** @internal */
  recordPicture(png: Buffer): string
  wait(): Promise<{ readonly reason: PowerOffReason; readonly exitCode: number | undefined }>
}
