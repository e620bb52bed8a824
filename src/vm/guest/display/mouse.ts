import { setTimeout as sleep } from 'node:timers/promises'
import type { QmpClient } from '../../../channel/qmp/qmp-client.js'
import type { Calls } from '../../../common/calls/calls.js'
import { traceCalls } from '../../../common/calls/trace-calls.js'
import { vmError } from '../../../errors.js'

/** Button of the mouse. */
export type MouseButton = 'left' | 'middle' | 'right'

/** Position on the guest's display, in pixels from its top left corner. */
export interface MousePosition {
  /** Distance from the left edge of the display, pixels. */
  readonly x: number
  /** Distance from the top edge of the display, pixels. */
  readonly y: number
}

/** Options of `vm.mouse.click()`. */
export interface ClickOptions {
  /** Mouse button. @default 'left' */
  readonly button?: MouseButton | undefined
  /** Number of clicks, such as 2 for a double click. @default 1 */
  readonly count?: number | undefined
}

/** Maximum of an absolute axis in QEMU (ui/input.c, INPUT_EVENT_ABS_MAX). */
const ABS_MAX = 0x7fff
/**
 * Time between press and release, and between two clicks, milliseconds: shorter than any
 * double-click interval.
 */
const HOLD_MS = 50

/** Pointer with absolute positions on the display. Requires the option `tablet`. */
export class Mouse {
  static {
    traceCalls(Mouse, 'vm.mouse', ['move', 'click', 'down', 'up'])
  }

  /** @internal Calls of the guest that this object belongs to. */
  calls: Calls | undefined
  readonly #requireMonitor: () => QmpClient
  readonly #readSize: () => Promise<{ readonly width: number; readonly height: number }>

  /**
   * @internal
   * @param readSize returns the size of the display, pixels.
   */
  constructor(
    requireMonitor: () => QmpClient,
    readSize: () => Promise<{ readonly width: number; readonly height: number }>,
  ) {
    this.#requireMonitor = requireMonitor
    this.#readSize = readSize
  }

  /**
   * Moves the pointer to a position.
   *
   * @throws {UsageError} DISPLAY_UNAVAILABLE when the guest has no display or uses no tablet;
   *   INVALID_OPTIONS for a position outside of the display.
   */
  async move(x: number, y: number): Promise<void> {
    const qmp = this.#requireMonitor()
    const mice = (await qmp.execute('query-mice')) as ReadonlyArray<{ absolute: boolean; current: boolean }>
    if (!mice.some(({ absolute, current }) => absolute && current)) throw noTabletError(mice.length)
    const { width, height } = await this.#readSize()
    const isInside = x >= 0 && y >= 0 && x < width && y < height
    if (!isInside) throw outOfDisplayError({ x, y }, width, height)
    await qmp.execute('input-send-event', {
      events: [absoluteAxisEvent('x', x, width), absoluteAxisEvent('y', y, height)],
    })
  }

  /**
   * Clicks a button at a position, or at the present position of the pointer.
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

  /** Presses a button and holds it, for dragging. @default button 'left' */
  async down(button: MouseButton = 'left'): Promise<void> {
    await this.#button(button, true)
  }

  /** Releases a button. @default button 'left' */
  async up(button: MouseButton = 'left'): Promise<void> {
    await this.#button(button, false)
  }

  async #button(button: MouseButton, down: boolean): Promise<void> {
    const events = [{ type: 'btn', data: { button, down } }]
    await this.#requireMonitor().execute('input-send-event', { events })
  }
}

function absoluteAxisEvent(name: 'x' | 'y', at: number, size: number) {
  const value = Math.round((at * ABS_MAX) / Math.max(1, size - 1))
  return { type: 'abs', data: { axis: name, value } }
}

function noTabletError(mice: number) {
  return vmError('DISPLAY_UNAVAILABLE', {
    summary: 'The pointer cannot be moved: the guest uses no tablet.',
    got: mice === 0 ? 'no pointer' : 'a mouse, which supports only relative movements',
    hint: "Set the option tablet: 'virtio' or 'usb', and load its driver in the guest (`virtio_input` or `usbhid`).",
  })
}

function outOfDisplayError({ x, y }: MousePosition, width: number, height: number) {
  return vmError('INVALID_OPTIONS', {
    summary: 'The pointer position is outside of the display.',
    expected: `a position within ${width} x ${height}`,
    got: `${x}, ${y}`,
    hint: 'Look at the display with `vm.screenshot()`.',
  })
}
