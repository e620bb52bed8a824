/** The values of one option of QEMU's; what is undefined is left out. */
export type OptionValues = Readonly<Record<string, string | number | undefined>>

/** Joins an option's parts as QEMU reads them: a comma within a value is doubled. */
export function joinOption(head: string, values: OptionValues): string {
  const parts = Object.entries(values).flatMap(([key, value]) =>
    value === undefined ? [] : [`${key}=${String(value).replaceAll(',', ',,')}`],
  )
  return [head, ...parts].filter((part) => part !== '').join(',')
}
