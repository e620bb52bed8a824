/** Reads an option as QEMU does (util/qemu-option.c, get_opt_value): a comma ends a value, two are one of it. */
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

/** The options of QEMU's command line that have no argument. */
const WITHOUT_ARGUMENT = ['-nodefaults', '-no-user-config', '-S']
/** The options whose argument is one value, whatever is in it. */
const ONE_VALUE = ['-append', '-kernel', '-initrd', '-dtb', '-bios', '-D', '-d', '-cpu']

/**
 * Returns a command line without its values: the options, and the keys in the argument of each. QEMU takes an argument
 * that no option asks for, and that does not begin with a dash, for a disk.
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
  // A first value without a key gets the key that the option implies.
  const isBare = !/^[^=,]*=/.test(argument)
  return [isBare ? '(value)' : first, ...rest].join()
}

/** Returns all values of a command line as QEMU reads them, those without a key included. */
export function readValues(args: readonly string[]): string[] {
  return args.flatMap((arg) => [arg, ...readOption(arg).flat()])
}
