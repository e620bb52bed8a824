/** Properties of a QEMU option value, in order. A key may be repeated, such as `hostfwd=`. */
export type Parameters = ReadonlyArray<readonly [key: string, value: string]>

/**
 * Parses `file=a,,b.img,if=virtio` with the rules of QEMU: a doubled comma is a literal comma, the
 * first key may be omitted, a key without a value is `on`, and `nokey` is `key=off`.
 */
export function parseParameters(text: string, firstKey?: string): Parameters {
  return splitAtCommas(text).map((part, index): readonly [string, string] => {
    const at = part.indexOf('=')
    if (index === 0 && firstKey !== undefined && (at === -1 || !/^[\w.-]+$/.test(part.slice(0, at)))) {
      return [firstKey, part]
    }
    if (at !== -1) return [part.slice(0, at), part.slice(at + 1)]
    return /^no(server|wait|delay)$/.test(part) ? [part.slice(2), 'off'] : [part, 'on']
  })
}

function splitAtCommas(text: string): string[] {
  if (text === '') return []
  const parts: string[] = []
  let part = ''
  for (let at = 0; at < text.length; at++) {
    if (text[at] === ',' && text[at + 1] !== ',') {
      parts.push(part)
      part = ''
    } else {
      part += text[at]
      if (text[at] === ',') at++
    }
  }
  return [...parts, part]
}

/** Returns the last value of a key, which takes precedence in QEMU. */
export function lastValue(parameters: Parameters, key: string): string | undefined {
  return parameters.findLast(([name]) => name === key)?.[1]
}

export function formatParameters(parameters: Parameters): string {
  return parameters.map(([key, value]) => `${key}=${value.replaceAll(',', ',,')}`).join(',')
}

export function isOn(value: string): boolean {
  return ['on', 'yes', 'true', 'y', '1'].includes(value)
}
