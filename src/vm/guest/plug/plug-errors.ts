import { type VMError, vmError } from '../../../errors.js'

/**
 * Builds the error of a device that QEMU rejects, with QEMU's message and a hint with the required
 * option.
 */
export function deviceRejectedError(description: string, error: VMError) {
  const { got = error.details.summary } = error.details
  const hint = /no slot|full|no free|exceed|not enough space|limit/i.test(got)
    ? 'Unplug a device, or start the guest with more slots (`cpus.maxcpus`, `memory.max`, `memory.slots`).'
    : /'usb.0' not found/.test(got)
      ? 'Set the option usb: true.'
      : /hotplug/i.test(got)
        ? 'Start the guest with this device: add it to the option `devices`, `disks` or `network`.'
        : 'List the devices with `qemu -device help`, and their properties with `-device NAME,help`.'
  return vmError('DEVICE_REFUSED', { summary: `QEMU rejected ${description}.`, got, hint, cause: error })
}

export function noFreeSlotError(description: string, got: string, option: string) {
  return vmError('DEVICE_REFUSED', {
    summary: `The guest has no free slot for ${description}.`,
    got: `${got} in use`,
    hint: `Start the guest with ${option}.`,
  })
}

export function invalidSizeError(call: string, size: unknown) {
  return vmError('INVALID_OPTIONS', {
    summary: `The size of ${call} is invalid.`,
    expected: "a memory size such as '512M', '2G', or a number of MiB above 0",
    got: JSON.stringify(size) ?? String(size),
    hint: 'Correct the size.',
  })
}
