import { type VMError, vmError } from '../../../errors.js'

/** QEMU's own words, and the option that would have made room. */
export function notTaken(what: string, error: VMError) {
  const { got = error.details.summary } = error.details
  const hint = /no slot|full|no free|exceed|not enough space|limit/i.test(got)
    ? 'there is no room: unplug something, or give the guest more from the start (`cpus.maxcpus`, `memory.max`, `memory.slots`).'
    : /'usb.0' not found/.test(got)
      ? 'give the guest the option usb: true.'
      : /hotplug/i.test(got)
        ? 'such a device has to be there from the start: give it by the options `devices`, `disks` or `network`.'
        : '`qemu -device help` lists the devices, and `-device NAME,help` their properties.'
  return vmError('DEVICE_REFUSED', { summary: `QEMU did not take ${what}.`, got, hint, cause: error })
}

export function noRoom(what: string, got: string, option: string) {
  return vmError('DEVICE_REFUSED', {
    summary: `There is no room for another ${what} in this guest.`,
    got: `${got} in use`,
    hint: `start it with room for more: ${option}.`,
  })
}

export function badSize(call: string, size: unknown) {
  return vmError('INVALID_OPTIONS', {
    summary: `${call} was given a size that it cannot use.`,
    expected: "an amount of memory such as '512M', '2G', or a number of MiB above 0",
    got: JSON.stringify(size) ?? String(size),
    hint: 'correct it.',
  })
}
