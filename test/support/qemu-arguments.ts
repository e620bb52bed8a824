/** Parses an option like QEMU (util/qemu-option.c, get_opt_value): a comma ends a value, a double comma is a literal one. */
export function readOption(option: string): [key: string, value: string][] {
  const parts: string[] = []
  let part = ''
  for (let at = 0; at < option.length; at++) {
    const isDouble = option[at] === ',' && option[at + 1] === ','
    if (option[at] === ',' && !isDouble) {
      parts.push(part)
      part = ''
    } else {
      part += option[at]
      if (isDouble) at++
    }
  }
  parts.push(part)
  return parts.map((one) => {
    const end = one.indexOf('=')
    return end < 0 ? [one, ''] : [one.slice(0, end), one.slice(end + 1)]
  })
}

/** Options of QEMU without an argument. */
const WITHOUT_ARGUMENT = ['-nodefaults', '-no-user-config', '-S']
/** Options whose argument is a single value, regardless of its content. */
const ONE_VALUE = ['-append', '-kernel', '-initrd', '-dtb', '-bios', '-D', '-d', '-cpu']

/**
 * Returns the shape of a command line: the options and the keys of their arguments, without values. QEMU uses an argument
 * that belongs to no option and does not start with a dash as a disk.
 */
export function readShape(args: readonly string[]): string[] {
  const shape: string[] = []
  for (let at = 0; at < args.length; at++) {
    const option = args[at] as string
    if (!option.startsWith('-')) shape.push('a disk')
    else if (WITHOUT_ARGUMENT.includes(option)) shape.push(option)
    else shape.push(`${option} ${readKeys(option, args[++at] ?? '')}`)
  }
  return shape
}

function readKeys(option: string, argument: string): string {
  if (ONE_VALUE.includes(option)) return '(value)'
  const [first, ...rest] = readOption(argument).map(([key]) => key)
  // A first value without a key has the implied key of the option.
  const isBare = !/^[^=,]*=/.test(argument)
  return [isBare ? '(value)' : first, ...rest].join()
}

/** Returns all values of a command line as QEMU parses them, including values without a key. */
export function readValues(args: readonly string[]): string[] {
  return args.flatMap((arg) => [arg, ...readOption(arg).flat()])
}
