import { resolveCacheDir } from '../common/cache-dir.js'
import { digestOf, openHostCache } from './host-cache.js'
import type { QemuBinary } from './qemu-binary.js'
import type { CapabilityOptions } from './qemu-capabilities.js'
import { isText, listOf, queryQemu } from './query-qemu.js'

/** Property of a device, as reported by QEMU. */
export interface DeviceProperty {
  readonly name: string
  /** Type name of QEMU: `uint32`, `bool`, `str`, `OnOffAuto`, … */
  readonly type: string
}

/**
 * Queries the properties of devices. The result is cached until the QEMU binary changes.
 *
 * @returns the properties by device name, without names that are not user-creatable devices.
 * @throws {InfrastructureError} QEMU_FAILED when QEMU does not respond.
 */
export async function queryDeviceProperties(
  qemu: QemuBinary,
  devices: readonly string[],
  options: CapabilityOptions = {},
): Promise<ReadonlyMap<string, readonly DeviceProperty[]>> {
  const cache = openHostCache(options.cacheDir ?? resolveCacheDir())
  const fact = (device: string) => `qemu-device-1-${digestOf(qemu.fingerprint, device)}`
  const known = new Map<string, readonly DeviceProperty[]>()
  for (const device of devices) {
    const properties = await cache.read(fact(device), parseProperties)
    if (properties !== undefined) known.set(device, properties)
  }
  const unknown = [...new Set(devices)].filter((device) => !known.has(device))
  if (unknown.length === 0) return known
  const commands = unknown.map((device) => {
    return { id: device, execute: 'device-list-properties', arguments: { typename: device } }
  })
  const responses = await queryQemu(
    qemu,
    commands,
    (found) => (unknown.every((device) => found.has(device)) ? found : undefined),
    options.signal,
  )
  for (const device of unknown) {
    const properties = parseProperties(responses.get(device)?.return)
    if (properties === undefined) continue
    known.set(device, properties)
    await cache.write(fact(device), properties)
  }
  return known
}

function parseProperties(value: unknown): DeviceProperty[] | undefined {
  const list = listOf(value)
  if (!list?.every(({ name, type }) => isText(name) && isText(type))) return undefined
  return list.map(({ name, type }) => ({ name: String(name), type: String(type) }))
}
