import { setTimeout as sleep } from 'node:timers/promises'
import type { QmpClient } from '../../../channel/qmp/qmp-client.js'
import { vmError } from '../../../errors.js'

export type MouseButton = 'left' | 'middle' | 'right'

/** A place on the guest's display: pixels from its left upper corner. */
export interface MousePosition {
  readonly x: number
  readonly y: number
}

export interface ClickOptions {
  /** @default 'left' */
  readonly button?: MouseButton
  /** How often, as 2 for a double click. @default 1 */
  readonly count?: number
}

/** QEMU's axes of a pointer that has a place end there (ui/input.c, INPUT_EVENT_ABS_MAX). */
const MOST = 0x7fff
/** How long a button is down, and up before it is down again, milliseconds: less than any double click. */
const HOLD_MS = 50

/** A pointer that has a place on the display, as a tablet has: it needs the option `tablet`. */
export class Mouse {
  readonly #requireMonitor: () => QmpClient
  readonly #readSize: () => Promise<{ readonly width: number; readonly height: number }>

  /** @param readSize how big the display is, pixels. */
  constructor(
    requireMonitor: () => QmpClient,
    readSize: () => Promise<{ readonly width: number; readonly height: number }>,
  ) {
    this.#requireMonitor = requireMonitor
    this.#readSize = readSize
  }

  /**
   * Moves the pointer.
   *
   * @throws {UsageError} DISPLAY_UNAVAILABLE where the guest has no tablet that it uses, or no display; INVALID_OPTIONS for a
   *   place outside of the display.
   */
  async move(x: number, y: number): Promise<void> {
    const qmp = this.#requireMonitor()
    const mice = (await qmp.execute('query-mice')) as ReadonlyArray<{ absolute: boolean; current: boolean }>
    if (!mice.some(({ absolute, current }) => absolute && current)) throw noTablet(mice.length)
    const { width, height } = await this.#readSize()
    const isInside = x >= 0 && y >= 0 && x < width && y < height
    if (!isInside) throw outside({ x, y }, width, height)
    await qmp.execute('input-send-event', {
      events: [axis('x', x, width), axis('y', y, height)],
    })
  }

  /**
   * Presses a button where the pointer is; with a place, moves it there first.
   *
   * @throws {UsageError} as {@link move}.
   * @example await vm.mouse.click({ x: 320, y: 200 })
   */
  async click(at?: MousePosition, { button = 'left', count = 1 }: ClickOptions = {}): Promise<void> {
    if (at !== undefined) await this.move(at.x, at.y)
    for (let time = 0; time < count; time++) {
      await this.down(button)
      await sleep(HOLD_MS)
      await this.up(button)
      await sleep(HOLD_MS)
    }
  }

  /** Presses a button and leaves it down: to drag. @default button 'left' */
  async down(button: MouseButton = 'left'): Promise<void> {
    await this.#button(button, true)
  }

  /** Lets a button go. @default button 'left' */
  async up(button: MouseButton = 'left'): Promise<void> {
    await this.#button(button, false)
  }

  async #button(button: MouseButton, down: boolean): Promise<void> {
    const events = [{ type: 'btn', data: { button, down } }]
    await this.#requireMonitor().execute('input-send-event', { events })
  }
}

function axis(name: 'x' | 'y', at: number, size: number) {
  const value = Math.round((at * MOST) / Math.max(1, size - 1))
  return { type: 'abs', data: { axis: name, value } }
}

function noTablet(mice: number) {
  return vmError('DISPLAY_UNAVAILABLE', {
    summary: 'The pointer cannot be moved to a place: the guest has no tablet that it uses.',
    got: mice === 0 ? 'no pointer at all' : 'a mouse, which only knows how far it was moved',
    hint: "give the guest the option tablet: 'virtio' or 'usb'; it has to have loaded the driver of it (`virtio_input` or `usbhid`).",
  })
}

function outside({ x, y }: MousePosition, width: number, height: number) {
  return vmError('INVALID_OPTIONS', {
    summary: 'The pointer cannot be moved outside of the display.',
    expected: `a place within ${width} x ${height}`,
    got: `${x}, ${y}`,
    hint: '`vm.screenshot()` shows the display as it is.',
  })
}
