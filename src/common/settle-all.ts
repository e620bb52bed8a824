/**
 * Waits for all promises, then returns their values under the same names, or throws the first
 * failure. Unlike with `Promise.all`, no acquisition is still pending when the failure is thrown.
 */
export async function settleAll<const Work extends Readonly<Record<string, unknown>>>(
  work: Work,
): Promise<{ readonly [Key in keyof Work]: Awaited<Work[Key]> }> {
  const results = await Promise.allSettled(Object.values(work))
  const failed = results.find((result) => result.status === 'rejected')
  if (failed !== undefined) throw failed.reason
  const values = results.map((result) => (result as PromiseFulfilledResult<unknown>).value)
  return Object.fromEntries(Object.keys(work).map((name, index) => [name, values[index]])) as never
}
