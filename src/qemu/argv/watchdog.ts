import type { MachineSpec } from '../../spec/machine-spec.js'

/**
 * File name in the folder of the run, which is QEMU's working directory: `-acpitable` supports no
 * path with a colon.
 */
export const WATCHDOG_TABLE = 'watchdog.wdat'

/**
 * I/O ports of the iBASE 700 (QEMU's hw/watchdog/wdt_ib700.c). Writing 0 to the first starts 30 s,
 * writing the second stops.
 */
const START_PORT = 0x443
const STOP_PORT = 0x441
const SECONDS = 30

/**
 * Actions and instructions of the table, and the address space of I/O ports (ACPICA's actbl3.h and
 * actypes.h).
 */
const ACTION = { reset: 1, setCountdown: 6, start: 9, stop: 11 } as const
const WRITE_VALUE = 2
const WRITE_COUNTDOWN = 3
const SYSTEM_IO = 1
const ONE_BYTE = 1
const NO_PCI_DEVICE = 0xff
const ENABLED = 1
const HEADER_BYTES = 32
const ENTRY_BYTES = 24

/** Returns the arguments of a watchdog and its action. */
export function watchdogArgs(
  { devices: { watchdog } }: MachineSpec,
  { watchdogTable }: { readonly watchdogTable?: string | undefined } = {},
): string[] {
  if (watchdog === undefined) return []
  const table = watchdogTable === undefined ? [] : ['-acpitable', `sig=WDAT,rev=1,data=${watchdogTable}`]
  return ['-device', watchdog.model, '-action', `watchdog=${watchdog.action}`, ...table]
}

/**
 * Builds an ACPI table (WDAT, Microsoft's "Hardware Watchdog Timers Design Specification") that
 * describes the iBASE 700. Kernels for virtual machines have no driver for the watchdogs of QEMU,
 * but one for this table. The countdown is always 30 s, because the table cannot express the
 * encoding of the device.
 */
export function buildWatchdogTable(): Buffer {
  const entries = [
    buildEntry(ACTION.reset, WRITE_VALUE, START_PORT, 0xff),
    buildEntry(ACTION.start, WRITE_VALUE, START_PORT, 0xff),
    buildEntry(ACTION.stop, WRITE_VALUE, STOP_PORT, 0xff),
    // The Linux driver requires this action. It sets the countdown before it starts the device.
    buildEntry(ACTION.setCountdown, WRITE_COUNTDOWN, STOP_PORT, 0x0f),
  ]
  const header = Buffer.alloc(HEADER_BYTES)
  header.writeUInt32LE(HEADER_BYTES, 0)
  header.writeUInt16LE(NO_PCI_DEVICE, 4)
  header.fill(NO_PCI_DEVICE, 6, 9)
  header.writeUInt32LE(1000, 12) // length of a period in milliseconds
  header.writeUInt32LE(SECONDS, 16) // maximum number of periods
  header.writeUInt32LE(1, 20) // minimum number of periods
  header.writeUInt8(ENABLED, 24)
  header.writeUInt32LE(entries.length, 28)
  return Buffer.concat([header, ...entries])
}

function buildEntry(action: number, instruction: number, port: number, mask: number): Buffer {
  const entry = Buffer.alloc(ENTRY_BYTES)
  entry.writeUInt8(action, 0)
  entry.writeUInt8(instruction, 1)
  entry.writeUInt8(SYSTEM_IO, 4)
  entry.writeUInt8(8, 5) // bits
  entry.writeUInt8(ONE_BYTE, 7)
  entry.writeBigUInt64LE(BigInt(port), 8)
  entry.writeUInt32LE(mask, 20)
  return entry
}
