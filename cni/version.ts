import { CNI_CODE, CniError } from './error.ts';

/** Versions of the specification that a configuration may name. The first two are what a configuration without a version means. */
export const CNI_VERSIONS = ['0.1.0', '0.2.0', '0.3.0', '0.3.1', '0.4.0', '1.0.0', '1.1.0'] as const;
export type CniVersion = (typeof CNI_VERSIONS)[number];

/** Reads `cniVersion`; absent means 0.2.0. @throws CniError incompatibleVersion */
export function cniVersion(value: unknown): CniVersion {
  if (value === undefined || value === null || value === '') return '0.2.0';
  const found = CNI_VERSIONS.find((version) => version === value);
  if (found) return found;
  throw new CniError(
    CNI_CODE.incompatibleVersion,
    `cniVersion ${JSON.stringify(value)} is not supported; use one of ${CNI_VERSIONS.join(', ')}`,
  );
}

export const atLeast = (version: CniVersion, least: CniVersion): boolean =>
  CNI_VERSIONS.indexOf(version) >= CNI_VERSIONS.indexOf(least);
