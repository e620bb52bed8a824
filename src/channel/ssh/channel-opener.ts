import type { ClientChannel, SFTPWrapper } from 'ssh2'
import { raceSignal } from '../../common/deadline.js'
import { createDeferred, type Deferred } from '../../common/deferred.js'
import { Turns } from '../../common/turns.js'
import { vmError } from '../../errors.js'

export type AnyChannel = ClientChannel | SFTPWrapper

export type StartChannel<Channel extends AnyChannel> = (
  done: (error: Error | undefined, channel: Channel) => void,
) => unknown

/** How often a channel is tried again that the server closed while it was being opened. */
const MAX_TRIES = 10

/** Opens the channels of one connection, and knows which are open. */
export class ChannelOpener {
  readonly #channels = new Set<AnyChannel>()
  readonly #waiting = new Set<Deferred<void>>()
  readonly #turns = new Turns()
  #closedBy: Error | undefined

  has(channel: AnyChannel): boolean {
    return this.#channels.has(channel)
  }

  /** Makes every wait for a channel reject: the connection is gone. */
  close(reason: Error): void {
    this.#closedBy ??= reason
    this.#wake()
  }

  /**
   * Opens a channel and starts on it what `start` says.
   *
   * Servers allow so many at a time (OpenSSH: 10): when one refuses while others are open, the next try waits for
   * one of these to end. And Dropbear (2022.83) closes a channel that it has just opened if another's command ends
   * at that moment, before it looks at what the channel is for: such a one is simply tried again, and channels are
   * opened one after the other to make that rare.
   */
  async open<Channel extends AnyChannel>(
    start: StartChannel<Channel>,
    signal: AbortSignal | undefined,
  ): Promise<Channel> {
    for (let tries = 1; ; tries++) {
      const endTurn = await this.#turns.take(signal)
      const others = this.#channels.size
      try {
        if (this.#closedBy !== undefined) throw this.#closedBy
        return await this.#openOnce(start)
      } catch (error) {
        await new Promise(setImmediate) // a lost connection fails its channels first and then says so
        if (this.#closedBy !== undefined) throw this.#closedBy
        const isAlone = others === 0 && this.#channels.size === 0
        const isLimit = error instanceof Error && 'reason' in error
        if (isAlone || (!isLimit && tries >= MAX_TRIES)) throw sessionRefused(error)
        if (!isLimit || this.#channels.size === 0) continue
      } finally {
        endTurn()
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

function sessionRefused(cause: unknown): Error {
  return vmError('SSH_REFUSED', {
    summary: 'the SSH server in the guest refused to open a session',
    got: cause instanceof Error ? cause.message : String(cause),
    hint: "See the SSH server's own log in the guest: it may forbid commands for this user.",
    cause,
  })
}
