/** Values of a QEMU option. Undefined values are omitted. */
export type OptionValues = Readonly<Record<string, string | number | undefined>>

/** Joins the parts of a QEMU option. Commas in values are doubled. */
export function joinOption(head: string, values: OptionValues): string {
  const parts = Object.entries(values).flatMap(([key, value]) =>
    value === undefined ? [] : [`${key}=${String(value).replaceAll(',', ',,')}`],
  )
  return [head, ...parts].filter((part) => part !== '').join(',')
}
