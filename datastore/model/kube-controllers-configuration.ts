import * as z from 'zod';
import { onlyDefault } from './cluster-information.ts';
import type { KindInfo } from './kind.ts';
import type { Resource } from './meta.ts';

/** Carried without interpretation: it concerns a program that tsnet does not have. */
export type KubeControllersConfigurationSpec = Record<string, unknown>;
export type KubeControllersConfiguration = Resource<'KubeControllersConfiguration', KubeControllersConfigurationSpec>;

export const kubeControllersConfiguration: KindInfo<'KubeControllersConfiguration', KubeControllersConfigurationSpec> =
  {
    kind: 'KubeControllersConfiguration',
    plural: 'kubecontrollersconfigurations',
    singular: 'kubecontrollersconfiguration',
    shortNames: ['kubecontrollersconfig', 'kubecontrollersconfigs'],
    namespaced: false,
    name: onlyDefault,
    spec: z.record(z.string(), z.unknown()),
  };
