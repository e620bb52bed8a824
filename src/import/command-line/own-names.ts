import { formatParameters, type Parameters, parseParameters } from './parameters.js'

/** IDs that withvm uses. The same IDs of the command line are renamed. */
const OWN =
  /^(qmp|gdb|serial0|agent|identity|tpm0?|ram|node\d+|net\d+|disk\d+(-secret|-overlay|-usb)?|scsi|sata|usb|sound)$/
const REFERENCES = [
  'id',
  'netdev',
  'chardev',
  'drive',
  'bus',
  'memdev',
  'tpmdev',
  'audiodev',
  'node-name',
  'dev',
]

/**
 * Renames IDs of the passed-through arguments that clash with those of withvm. Modifies `args`;
 * returns the renamed IDs.
 */
export function renameClashes(args: string[]): ReadonlyMap<string, string> {
  const renamed = new Map<string, string>()
  for (const value of args) {
    for (const [key, name] of readPairs(value)) {
      if ((key === 'id' || key === 'node-name') && OWN.test(name)) renamed.set(name, `line-${name}`)
    }
  }
  if (renamed.size === 0) return renamed
  args.forEach((value, index) => {
    const chardev = /^chardev:([\w-]+)$/.exec(value)?.[1]
    if (chardev !== undefined) args[index] = `chardev:${renamed.get(chardev) ?? chardev}`
    const pairs = readPairs(value)
    const made = pairs.map(([key, text]): readonly [string, string] => {
      if (!REFERENCES.includes(key)) return [key, text]
      const [, name = text, rest = ''] = key === 'bus' ? (/^(.*?)(\.\d+)$/.exec(text) ?? []) : []
      return [key, `${renamed.get(name) ?? name}${rest}`]
    })
    const text = formatParameters(made).replace(/^=/, '')
    if (made.some(([, one], at) => one !== pairs[at]?.[1])) args[index] = text
  })
  return renamed
}

function readPairs(value: string): Parameters {
  return value.startsWith('-') ? [] : parseParameters(value, '')
}
