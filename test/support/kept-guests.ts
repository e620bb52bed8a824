import { onTestFinished } from 'vitest'
import { runCli } from './built-cli.js'

export interface ListedGuest {
  readonly name: string
  readonly guest: string
  readonly pid: number
  readonly ageMs: number
  readonly image: string | null
  readonly ports: ReadonlyArray<{ readonly host: number; readonly guest: number }>
  readonly runFolder: string
  readonly kept: { readonly why: string; readonly until: string } | null
}

/** Returns the output of `withvm ps` for guests whose runs are below `tmpdir`. */
export async function listGuests(tmpdir: string): Promise<ListedGuest[]> {
  const { stdout } = await runCli(['ps', '--json'])
  return (JSON.parse(stdout) as ListedGuest[]).filter(({ runFolder }) => runFolder.startsWith(`${tmpdir}/`))
}

/** Stops the kept guests below `tmpdir` at the end of the test, even if the test fails. */
export function stopKeptGuests(tmpdir: string): void {
  onTestFinished(async () => {
    const kept = (await listGuests(tmpdir)).filter((guest) => guest.kept !== null)
    if (kept.length > 0) await runCli(['stop', ...kept.map(({ name }) => name)])
  })
}
