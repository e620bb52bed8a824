import type { Socket } from 'node:net'
import { withDeadline } from '../../common/deadline.js'
import { createDeferred, type Deferred } from '../../common/deferred.js'
import { formatDuration } from '../../common/duration.js'
import { vmError } from '../../errors.js'

export interface IdentityAgentWait {
  readonly timeoutMs: number
  readonly signal?: AbortSignal | undefined
}

/** All that an identity agent says is of this length: that it is parked, or the end of the message that it answers. */
const ANSWER_BYTES = 8

/**
 * The small program that waits in a guest for one message, and does what cannot wait for anything else to be
 * started: sets the clock, stirs the random pool, gives the guest its names. Over the host's end of its virtio-serial port.
 */
export class IdentityAgent {
  #socket: Socket | undefined
  #received = Buffer.alloc(0)
  #awaited: { readonly answer: Buffer; readonly came: Deferred<void> } | undefined

  /** Talks over a connection of QEMU's, in place of the one before. */
  attach(socket: Socket): void {
    this.close()
    this.#socket = socket
    this.#received = Buffer.alloc(0)
    socket.on('error', () => {}) // 'close' follows
    socket.on('data', (bytes: Buffer) => this.#receive(bytes))
    socket.once('close', () => {
      if (this.#socket === socket) this.close()
    })
  }

  /**
   * Sends a message and waits until the guest has done what it says.
   * @throws {GuestError} IDENTITY_AGENT_SILENT when there is no answer in time.
   */
  async tell(message: Buffer, wait: IdentityAgentWait): Promise<void> {
    const answered = this.#expect(message.subarray(-ANSWER_BYTES), wait)
    this.#socket?.write(message)
    await answered
  }

  /**
   * Waits until the guest says something by itself.
   * @throws {GuestError} IDENTITY_AGENT_SILENT when it does not in time.
   */
  hear(text: string, wait: IdentityAgentWait): Promise<void> {
    return this.#expect(Buffer.from(text), wait)
  }

  /** Ends the connection; what is under way rejects. Safe to call again. */
  close(): void {
    this.#socket?.destroy()
    this.#socket = undefined
    this.#awaited?.came.reject(silent('the connection to it has ended'))
  }

  async #expect(answer: Buffer, { timeoutMs, signal }: IdentityAgentWait): Promise<void> {
    if (this.#socket === undefined) throw silent('no connection to it')
    const awaited = { answer, came: createDeferred<void>() }
    awaited.came.promise.catch(() => {})
    this.#awaited = awaited
    const onTimeout = () => silent(`nothing within ${formatDuration(timeoutMs)}`)
    try {
      await withDeadline({ timeoutMs, signal, onTimeout }, () => awaited.came.promise)
    } finally {
      if (this.#awaited === awaited) this.#awaited = undefined
    }
  }

  /** What nobody waits for is of an earlier wait that was given up. */
  #receive(bytes: Buffer): void {
    this.#received = Buffer.concat([this.#received, bytes])
    while (this.#received.length >= ANSWER_BYTES) {
      const answer = this.#received.subarray(0, ANSWER_BYTES)
      this.#received = this.#received.subarray(ANSWER_BYTES)
      if (this.#awaited?.answer.equals(answer)) this.#awaited.came.resolve()
    }
  }
}

function silent(got: string): Error {
  return vmError('IDENTITY_AGENT_SILENT', {
    summary: 'the program in the guest that sets its clock and its names does not answer',
    got,
    hint: "Boot this guest anew with start: 'cold'; its serial console may tell what became of the program.",
  })
}
