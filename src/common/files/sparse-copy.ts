import { type HostTool, runTool } from '../process/run-tool.js'

const CP: HostTool = { program: 'cp', aptPackage: 'coreutils', why: 'copies files' }
const COPY_MS = 300_000

/** Copies a file and leaves out what is empty in it; where the file system can, both share what they have in common. */
export async function copySparse(from: string, to: string, signal?: AbortSignal | undefined): Promise<void> {
  await runTool({
    tool: CP,
    args: ['--sparse=always', '--reflink=auto', '--', from, to],
    purpose: `copying ${from}`,
    timeoutMs: COPY_MS,
    signal,
  })
}
