import { EventEmitter } from 'node:events'
import type { Socket } from 'node:net'

/** The part of a socket that channels use. Written data is dropped; a test supplies the received data. */
export class FakeSocket extends EventEmitter {
  destroyed = false
  readonly writable = true

  static create(): FakeSocket & Socket {
    return new FakeSocket() as FakeSocket & Socket
  }

  receive(pieces: readonly Buffer[]): void {
    for (const piece of pieces) if (!this.destroyed) this.emit('data', piece)
  }

  write(_data: unknown, done?: () => void): boolean {
    done?.()
    return true
  }

  destroy(): this {
    if (this.destroyed) return this
    this.destroyed = true
    this.emit('close')
    return this
  }
}
