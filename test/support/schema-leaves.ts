import type { z } from 'zod'

/** Path in the options that has a value instead of nested options. */
export interface SchemaLeaf {
  /** For example `disks[].serial`. */
  readonly path: string
  readonly schema: z.ZodType
}

interface Definition {
  readonly type: string
  readonly innerType?: z.ZodType
  readonly element?: z.ZodType
  readonly options?: readonly z.ZodType[]
  readonly shape?: Readonly<Record<string, z.ZodType>>
}

/** Lists the paths of all values in a schema. */
export function listLeaves(schema: z.ZodType, path = ''): SchemaLeaf[] {
  const { type, innerType, element, options, shape } = (schema as unknown as { readonly def: Definition }).def
  if (innerType !== undefined) return listLeaves(innerType, path)
  if (element !== undefined) return listLeaves(element, `${path}[]`)
  if (options !== undefined) return options.flatMap((option) => listLeaves(option, path))
  if (type !== 'object') return [{ path, schema }]
  return Object.entries(shape ?? {}).flatMap(([name, inner]) =>
    listLeaves(inner, path === '' ? name : `${path}.${name}`),
  )
}
