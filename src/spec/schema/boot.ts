import { z } from 'zod'
import { flag, isText, oneOf, path, required, rule, textLike } from './rules.js'

const uefi = z.strictObject({
  type: z.literal('uefi', { error: "'uefi'" }),
  secureBoot: flag(),
  vars: path('a file with UEFI variables'),
})

const customFirmware = z.strictObject({
  type: z.literal('bios', { error: "'bios'" }),
  file: required<string>('the path of a firmware file', isText),
})

const tpm = z.strictObject({ version: oneOf('1.2', '2.0'), model: oneOf('tis', 'crb') })

/** Schema of the options for firmware and boot. */
export const bootRules = {
  firmware: z
    .union([
      oneOf('bios', 'uefi'),
      z.discriminatedUnion('type', [uefi, customFirmware], { error: "'uefi' or 'bios'" }),
    ])
    .optional(),
  tpm: z.union([flag(), tpm]).optional(),
  kernel: path('a kernel'),
  initrd: path('an initial RAM file system'),
  dtb: path('a device tree'),
  append: rule<string | readonly string[]>('kernel arguments as a string or a list of strings', (value) => {
    return isText(value) || (Array.isArray(value) && value.every(isText))
  }),
  boot: textLike("a boot order such as 'n' or 'cdn'", /^[a-p]+$/),
  bootOnce: textLike("a boot order such as 'n' or 'cdn'", /^[a-p]+$/),
  bootMenu: flag(),
}
