import type { ClientChannel, SFTPWrapper } from 'ssh2'
import { raceSignal } from '../../common/deadline.js'
import { createDeferred, type Deferred } from '../../common/deferred.js'
import { Mutex } from '../../common/locks/mutex.js'
import { vmError } from '../../errors.js'

export type AnyChannel = ClientChannel | SFTPWrapper

export type StartChannel<Channel extends AnyChannel> = (
  done: (error: Error | undefined, channel: Channel) => void,
) => unknown

/** Attempts to open a channel that the server closes while it is being opened. */
const MAX_ATTEMPTS = 10

/** Opens the channels of one connection and tracks the open ones. */
export class ChannelOpener {
  readonly #channels = new Set<AnyChannel>()
  readonly #waiting = new Set<Deferred<void>>()
  readonly #mutex = new Mutex()
  #closedBy: Error | undefined

  has(channel: AnyChannel): boolean {
    return this.#channels.has(channel)
  }

  /** Rejects all waits for a channel because the connection is closed. */
  close(reason: Error): void {
    this.#closedBy ??= reason
    this.#wake()
  }

  /**
   * Opens a channel with `start`.
   *
   * Servers limit the number of channels (OpenSSH: 10). If the server refuses a channel while
   * others are open, the next attempt waits until one of them closes. Dropbear (2022.83) closes a
   * new channel if the command of another one ends at the same moment. The attempt is then
   * repeated, and channels are opened one at a time to make it rare.
   */
  async open<Channel extends AnyChannel>(
    start: StartChannel<Channel>,
    signal: AbortSignal | undefined,
  ): Promise<Channel> {
    for (let attempts = 1; ; attempts++) {
      const release = await this.#mutex.acquire(signal)
      const others = this.#channels.size
      try {
        if (this.#closedBy !== undefined) throw this.#closedBy
        return await this.#openOnce(start)
      } catch (error) {
        await new Promise(setImmediate) // a lost connection fails its channels before it emits 'close'
        if (this.#closedBy !== undefined) throw this.#closedBy
        const isAlone = others === 0 && this.#channels.size === 0
        const isLimit = error instanceof Error && 'reason' in error
        if (isAlone || (!isLimit && attempts >= MAX_ATTEMPTS)) throw sessionRefusedError(error)
        if (!isLimit || this.#channels.size === 0) continue
      } finally {
        release()
      }
      const freed = createDeferred<void>()
      this.#waiting.add(freed)
      await raceSignal(freed.promise, signal).finally(() => this.#waiting.delete(freed))
    }
  }

  #openOnce<Channel extends AnyChannel>(start: StartChannel<Channel>): Promise<Channel> {
    return new Promise((resolve, reject) => {
      start((error, channel) => {
        if (error) return reject(error)
        this.#channels.add(channel)
        channel.once('close', () => {
          this.#channels.delete(channel)
          this.#wake()
        })
        resolve(channel)
      })
    })
  }

  #wake(): void {
    for (const freed of this.#waiting) freed.resolve()
  }
}

function sessionRefusedError(cause: unknown): Error {
  return vmError('SSH_REFUSED', {
    summary: 'The SSH server in the guest refused to open a session.',
    got: cause instanceof Error ? cause.message : String(cause),
    hint: 'Read the log of the SSH server in the guest: it may forbid commands for this user.',
    cause,
  })
}
