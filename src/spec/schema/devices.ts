import { z } from 'zod'
import { flag, oneOf, required } from './rules.js'

const NAME = /^[A-Za-z0-9][\w.-]*$/

const isName = (value: unknown) => typeof value === 'string' && NAME.test(value)

/**
 * Only the syntax is checked here, so that no name or value can add another property. QEMU's
 * supported properties are checked later.
 */
const device = z
  .looseObject({ driver: required<string>("a device as QEMU names it, such as 'virtio-rng-pci'", isName) })
  .superRefine((properties, context) => {
    for (const [name, value] of Object.entries(properties)) {
      const isValue =
        (typeof value === 'string' && !value.includes('\0')) ||
        typeof value === 'boolean' ||
        Number.isFinite(value)
      if (isName(name) && isValue) continue
      context.addIssue({
        code: 'custom',
        path: [name],
        message: 'a string, a number, true or false',
      })
    }
  })

const port = z.strictObject({
  name: required<string>('a name of letters, digits, ., _ and -', isName),
  type: oneOf('virtio', 'serial', 'parallel'),
})

const watchdog = z.strictObject({
  model: oneOf('i6300esb', 'ib700'),
  action: oneOf('reset', 'shutdown', 'poweroff', 'pause', 'inject-nmi', 'none', 'debug'),
})

/** Schema of the options for sound, USB and other devices. */
export const deviceRules = {
  hotplug: flag(),
  sound: oneOf('ac97', 'es1370', 'ich6', 'ich9', 'usb'),
  usb: flag(),
  rng: flag(),
  balloon: flag(),
  watchdog: z.union([flag(), watchdog]).optional(),
  ports: z.array(port, { error: "a list such as [{ name: 'control' }]" }).optional(),
  devices: z.array(device, { error: "a list such as [{ driver: 'virtio-rng-pci' }]" }).optional(),
}
