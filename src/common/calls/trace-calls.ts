import type { Calls } from './calls.js'

/** Maximum length of an argument in the description of a call, characters. */
const MAX_ARGUMENT_CHARS = 60
/** Methods whose argument may be a password. */
const SECRET_ARGUMENTS: readonly string[] = ['type', 'write']

/** An object whose methods are calls of a test once it has `calls`. */
interface Traced {
  /** @internal Calls of the guest that this object belongs to. */
  calls: Calls | undefined
}

/**
 * Makes methods and getters of a class calls of the test, see {@link Calls}.
 * @param path expression of the object in a test: `vm.serial`.
 */
export function traceCalls<T extends Traced>(
  { prototype }: { readonly prototype: T },
  path: string,
  names: readonly (keyof T & string)[],
): void {
  for (const name of names) {
    const { value, get, ...flags } = Object.getOwnPropertyDescriptor(prototype, name) ?? {}
    const original = (value ?? get) as (...args: unknown[]) => unknown
    function traced(this: T, ...args: unknown[]): unknown {
      const work = () => original.apply(this, args)
      const shown = () => (SECRET_ARGUMENTS.includes(name) ? '…' : describeArguments(args))
      const describe = () => `${path}.${name}${get === undefined ? `(${shown()})` : ''}`
      return this.calls === undefined ? work() : this.calls.run({ describe, entry: traced }, work)
    }
    Object.defineProperty(
      prototype,
      name,
      get === undefined ? { ...flags, value: traced } : { ...flags, get: traced },
    )
  }
}

/** Formats the arguments of a call. Objects, which may contain passwords, are omitted. */
export function describeArguments(args: readonly unknown[]): string {
  return args.map(describeArgument).join(', ')
}

function describeArgument(value: unknown): string {
  if (typeof value === 'number' || value instanceof RegExp) return String(value)
  if (typeof value !== 'string') return '…'
  const text = value.length > MAX_ARGUMENT_CHARS ? `${value.slice(0, MAX_ARGUMENT_CHARS)}…` : value
  return `'${text.replaceAll('\n', '\\n')}'`
}
