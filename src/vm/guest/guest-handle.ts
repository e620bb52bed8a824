import type { CommandOptions, CommandResult } from '../../channel/command-result.js'
import type { SerialConsole } from '../../channel/serial/serial-console.js'
import type { WaitLimit } from '../../common/wait-limit.js'
import type { Netboot } from '../../net/netboot-server.js'
import type { PowerOffReason } from '../session/session.js'
import type { Ssh } from './ssh-function.js'

/** Part of `VM` that checks, waits and matchers use; it does not change the guest. */
export interface GuestHandle {
  readonly ssh: Ssh
  readonly serial: SerialConsole
  readonly timeFactor: number
  readonly waitLimit: WaitLimit
  readonly commandChannel: 'ssh' | 'agent'
  readonly lost: AbortSignal
  readonly isRunning: boolean
  readonly bootCount: number
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
