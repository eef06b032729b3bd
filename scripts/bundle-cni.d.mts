/** Types for tests, which bundle the plugin from its sources. */
export function bundleCni(options: {
  entry: string;
  outfile: string;
  conditions?: readonly string[];
  interpreter?: string;
}): Promise<void>;
