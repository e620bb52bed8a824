/** Returns the message of an error with values that change with each run masked: times, ports, byte counts. */
export function maskMessage(error: unknown): string {
  const { message } = error as Error
  return message
    .replace(/\b\d+(\.\d+)? (ms|s|min( \d+ s)?)\b/g, 'TIME')
    .replace(/127\.0\.0\.1:\d+/g, '127.0.0.1:PORT')
    .replace(/\bport \d+\b/g, 'port PORT')
    .replace(/\b\d+ characters\b/g, 'N characters')
    .replace(/\/\S*\/withvm-[0-9a-z.]+-[0-9a-f]{6}/g, 'RUN')
}

/** Returns the error that a promise rejects with. */
export async function rejection(promise: Promise<unknown>): Promise<Error> {
  const value = await promise.catch((error: unknown) => ({ error }))
  if (typeof value === 'object' && value !== null && 'error' in value) return value.error as Error
  throw new Error(`expected a rejection, got ${JSON.stringify(value)}`)
}
