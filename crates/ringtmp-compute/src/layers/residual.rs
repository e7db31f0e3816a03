//! A chain of layers with a way around it.

use super::{Keeps, LayerSpec, ParameterSpec, Site, Workspace, count};
use crate::operations::add;
use crate::recording::{Lifetime, Recording, View};

/// y = x + f(x), where f is a chain of layers whose output has the shape of its input.
///
/// It lays the chain's tensors and memory out in its own workspace: first the tensors after each link, then the gradients
/// before each link, then the memory of each link. The gradient after the last link is that of y.
pub(super) struct Residual {
    /// The links, each with what PyTorch's module puts before the names of its parameters.
    pub(super) links: Vec<(&'static str, LayerSpec)>,
}

impl Residual {
    /// The shape of x; or, in words, what a link takes.
    pub(super) fn output_shape(&self, input: &[usize]) -> Result<Vec<usize>, String> {
        let mut shape = input.to_vec();
        for (_, link) in &self.links {
            shape = link.layer().output_shape(&shape)?;
        }
        Ok(shape)
    }

    /// Those of the links, in order.
    pub(super) fn parameters(&self) -> Vec<ParameterSpec> {
        let mut all = Vec::new();
        for (prefix, link) in &self.links {
            all.extend(
                link.layer()
                    .parameters()
                    .into_iter()
                    .map(|own| ParameterSpec {
                        name: format!("{prefix}.{}", own.name).into(),
                        ..own
                    }),
            );
        }
        all
    }

    /// The links' and two additions.
    pub(super) fn flops(&self, input: &[usize]) -> [f64; 3] {
        let mut sum = [count(input), count(input), 0.0];
        for ((_, link), shape) in self.links.iter().zip(self.shapes(input)) {
            let own = link.layer().flops(&shape);
            sum.iter_mut().zip(own).for_each(|(sum, own)| *sum += own);
        }
        sum
    }

    pub(super) fn keeps(&self) -> Keeps {
        Keeps {
            input: self.keeps_of(Some(0)).input,
            output: false,
            output_gradient: self
                .keeps_of(self.links.len().checked_sub(1))
                .output_gradient,
        }
    }

    pub(super) fn workspace(&self, samples: usize, input: &[usize]) -> Vec<Workspace> {
        let shapes = self.shapes(input);
        let links = self.links.len();
        let tensor = |label, i: usize, kept: bool| Workspace {
            label,
            words: samples * shapes[i].iter().product::<usize>(),
            lifetime: if kept {
                Lifetime::Slot
            } else {
                Lifetime::Stage
            },
        };
        let activation = |i: usize| {
            let kept = self.keeps_of(Some(i)).input || self.keeps_of(Some(i - 1)).output;
            tensor("an activation", i, kept)
        };
        let gradient = |i: usize| {
            let kept = self.keeps_of(i.checked_sub(1)).output_gradient;
            tensor("a gradient", i, kept)
        };
        let own = self
            .links
            .iter()
            .zip(&shapes)
            .flat_map(|((_, link), shape)| link.layer().workspace(samples, shape));
        (1..=links)
            .map(activation)
            .chain((0..links).map(gradient))
            .chain(own)
            .collect()
    }

    pub(super) fn record_forward(&self, site: &Site, recording: &mut Recording) {
        let sites = self.sites(site);
        for ((_, link), site) in self.links.iter().zip(&sites) {
            link.layer().record_forward(site, recording);
        }
        if let Some(last) = sites.last() {
            recording.push(add(site.input, last.output, site.output));
        }
    }

    pub(super) fn record_backward_input(
        &self,
        site: &Site,
        input_gradient: View,
        recording: &mut Recording,
    ) {
        let gradients = &site.workspace[self.links.len()..];
        for (i, site) in self.sites(site).iter().enumerate().rev() {
            let layer = self.links[i].1.layer();
            layer.record_backward_input(site, gradients[i], recording);
        }
        recording.push(add(site.output_gradient, gradients[0], input_gradient));
    }

    pub(super) fn record_backward_weights(&self, site: &Site, recording: &mut Recording) {
        for ((_, link), site) in self.links.iter().zip(self.sites(site)) {
            link.layer().record_backward_weights(&site, recording);
        }
    }

    /// The shapes before each link and after the last, of a chain that takes this input.
    fn shapes(&self, input: &[usize]) -> Vec<Vec<usize>> {
        let mut shapes = vec![input.to_vec()];
        for (i, (_, link)) in self.links.iter().enumerate() {
            shapes.push(link.layer().output_shape(&shapes[i]).unwrap_or_default());
        }
        shapes
    }

    fn keeps_of(&self, i: Option<usize>) -> Keeps {
        i.and_then(|i| self.links.get(i))
            .map(|(_, link)| link.layer().keeps())
            .unwrap_or_default()
    }

    /// Where each link stands.
    fn sites(&self, site: &Site) -> Vec<Site> {
        let links = self.links.len();
        let shapes = self.shapes(&site.shape);
        let (activations, rest) = site.workspace.split_at(links);
        let (gradients, mut own) = rest.split_at(links);
        let (mut parameters, mut weights) = (&site.parameters[..], &site.gradients[..]);
        let mut sites = Vec::new();
        for (i, (_, link)) in self.links.iter().enumerate() {
            let layer = link.layer();
            let (taken, learnt) = (
                layer.workspace(site.samples, &shapes[i]).len(),
                layer.parameters().len(),
            );
            sites.push(Site {
                samples: site.samples,
                shape: shapes[i].clone(),
                input: if i == 0 {
                    site.input
                } else {
                    activations[i - 1]
                },
                output: activations[i],
                output_gradient: gradients
                    .get(i + 1)
                    .copied()
                    .unwrap_or(site.output_gradient),
                parameters: split_off(&mut parameters, learnt),
                gradients: split_off(&mut weights, learnt),
                workspace: split_off(&mut own, taken),
                position: site.position,
                // As far apart as links can be, so that no two of neighbouring layers draw alike.
                key: site.key.wrapping_add((i as u32 + 1) << 24),
            });
        }
        sites
    }
}

/// The first `count` views, which are taken away.
fn split_off(views: &mut &[View], count: usize) -> Vec<View> {
    let (first, rest) = views.split_at(count);
    *views = rest;
    first.to_vec()
}
