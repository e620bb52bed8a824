import { installArchitecturePackages } from './guest-packages.js'

/** Has the QEMUs of other architectures, which only `npm run test:distributions` needs. */
export async function setup(): Promise<void> {
  await installArchitecturePackages()
}
