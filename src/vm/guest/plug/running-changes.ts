import type { QmpClient } from '../../../channel/qmp/qmp-client.js'
import { type Duration, formatDuration } from '../../../common/duration.js'
import { pollUntil } from '../../../common/poll.js'
import { formatBytes, type MemorySize, parseMemorySize } from '../../../common/units.js'
import { VMError, vmError } from '../../../errors.js'
import type { Machine } from '../../machine/machine.js'
import { PluggedDevice } from './plugged-device.js'

/** The most that a disk may do. 0 or nothing is no limit. */
export interface ThrottleLimits {
  /** Reads and writes a second, together. */
  readonly iops?: number
  /** Bytes a second, read and written together: bytes, or with a unit: `'10M'`. */
  readonly bps?: number | string
}

export interface LinkOptions {
  /** Which card: its place among those of the option `network`, or one that was plugged in. @default 0 */
  readonly card?: number | PluggedDevice
}

export interface BalloonOptions {
  /** How long the guest may take. @default 30 s on a host with KVM, stretched where it is slower */
  readonly timeout?: Duration
}

const POLL_MS = 50

/** Pulls or plugs the cable of a card. */
export async function setLink(qmp: QmpClient, { spec }: Machine, isUp: boolean, options: LinkOptions) {
  const { card = 0 } = options
  const count = 1 + spec.furtherNetworks.length
  if (typeof card === 'number' && !(card >= 0 && card < count && Number.isInteger(card))) {
    throw vmError('INVALID_OPTIONS', {
      summary: 'setLink() got a card that this guest does not have.',
      expected: `0 to ${count - 1}, or a card of vm.plug.card()`,
      got: String(card),
      hint: 'cards are counted from 0, in the order of the option `network`.',
    })
  }
  const name = typeof card === 'number' ? `net${card}` : card.id
  await qmp.execute('set_link', { name, up: isUp }).catch((error: unknown) => {
    throw refused(
      'The cable of this card cannot be changed.',
      error,
      'it has to be a network card that is still there.',
    )
  })
}

/** Limits a disk from now on. */
export async function throttle(
  qmp: QmpClient,
  { spec }: Machine,
  disk: 'system' | number | PluggedDevice,
  { iops = 0, bps = 0 }: ThrottleLimits,
): Promise<void> {
  const bytes = typeof bps === 'number' ? bps : parseMemorySize(bps)
  const isCount = (value: unknown) => Number.isInteger(value) && (value as number) >= 0
  if (bytes === undefined || !isCount(bytes) || !isCount(iops)) {
    throw vmError('INVALID_OPTIONS', {
      summary: 'throttle() got a limit that it cannot use.',
      expected: "whole numbers from 0 on, or for `bps` an amount such as '10M'",
      got: JSON.stringify({ iops, bps }),
      hint: '0 takes a limit away.',
    })
  }
  if (typeof disk === 'number' && spec.disks[disk] === undefined) {
    throw vmError('INVALID_OPTIONS', {
      summary: 'throttle() got a disk that this guest does not have.',
      expected: `'system', ${spec.disks.length === 0 ? '' : `0 to ${spec.disks.length - 1}, `}or a disk of vm.plug.disk()`,
      got: String(disk),
      hint: 'disks are counted from 0, in the order of the option `disks`.',
    })
  }
  const target =
    disk instanceof PluggedDevice
      ? { id: await findBlockDevice(qmp, disk.id) }
      : { device: disk === 'system' ? 'disk0' : `disk${disk + 1}` }
  const limits = { bps: bytes, bps_rd: 0, bps_wr: 0, iops, iops_rd: 0, iops_wr: 0 }
  await qmp.execute('block_set_io_throttle', { ...target, ...limits }).catch((error: unknown) => {
    throw refused(
      'This disk cannot be throttled.',
      error,
      'it has to be a disk with something in it that is still there.',
    )
  })
}

/** What QEMU limits lies within a device of virtio, under a path that only QEMU knows. */
async function findBlockDevice(qmp: QmpClient, id: string): Promise<string> {
  const blocks = await qmp.execute('query-block')
  const found = blocks.find(({ qdev = '' }) => qdev.split('/').includes(id))
  return found?.qdev ?? id
}

/**
 * Takes memory from the guest, or gives it back, and waits until it has so much.
 *
 * @returns what it has then, bytes.
 */
export async function setBalloon(
  qmp: QmpClient,
  { spec, host }: Machine,
  size: MemorySize,
  { timeoutMs, signal }: { readonly timeoutMs: number; readonly signal: AbortSignal },
): Promise<number> {
  const bytes = parseMemorySize(size)
  if (bytes === undefined || bytes > spec.memoryBytes) {
    throw vmError('INVALID_OPTIONS', {
      summary: 'balloon() got an amount of memory that it cannot use.',
      expected: `an amount such as '128M', of no more than the guest has, ${formatBytes(spec.memoryBytes)}`,
      got: JSON.stringify(size) ?? String(size),
      hint: 'it is what the guest is to have, not what is to be taken.',
    })
  }
  if (!spec.devices.balloon) {
    throw vmError('DEVICE_REFUSED', {
      summary: 'This guest has no balloon.',
      hint: 'give it the option balloon: true.',
    })
  }
  await qmp.execute('balloon', { value: bytes })
  let actual = 0
  const limit = AbortSignal.timeout(timeoutMs)
  try {
    return await pollUntil(
      async () => {
        actual = await readBalloon(qmp)
        return actual === bytes ? actual : undefined
      },
      { intervalMs: POLL_MS, signal: AbortSignal.any([limit, signal]) },
    )
  } catch (error) {
    if (!limit.aborted) throw error
    throw vmError('UNPLUG_FAILED', {
      summary: `The guest did not come to ${formatBytes(bytes)} of memory within ${formatDuration(timeoutMs)}.`,
      got: formatBytes(actual),
      hint: `the guest needs the driver of the balloon (\`modprobe virtio_balloon\`), and to have as much memory free${host.timeFactor > 1 ? '; give it a longer `timeout` where it only takes longer' : ''}.`,
    })
  }
}

/** What the guest has at this moment, bytes. */
async function readBalloon(qmp: QmpClient): Promise<number> {
  const { actual } = (await qmp.execute('query-balloon')) as { readonly actual: number }
  return actual
}

function refused(summary: string, error: unknown, hint: string) {
  if (!(error instanceof VMError) || error.code !== 'QMP_FAILED') return error
  return vmError('DEVICE_REFUSED', {
    summary,
    got: error.details.got ?? error.details.summary,
    hint,
    cause: error,
  })
}
