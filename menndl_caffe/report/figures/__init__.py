"""The figures of a run: the paper's Figures 1 to 3, fitness by generation, the front of several objectives, the paths
of a search along gradients, decays that were learned, and what simulations say. The only room that imports matplotlib.

None has a title, as a paper's caption is its title; all can be read at the width of one column.
"""
from __future__ import annotations

from menndl_caffe.report.figures.decays import decays_figure
from menndl_caffe.report.figures.fitness import fitness_figure
from menndl_caffe.report.figures.front import front_figure
from menndl_caffe.report.figures.genes import genes_figure
from menndl_caffe.report.figures.network import network_figure
from menndl_caffe.report.figures.parallel import parallel_figure
from menndl_caffe.report.figures.paths import paths_figure
from menndl_caffe.report.figures.simulated import simulated_figure
from menndl_caffe.report.figures.style import files_of

__all__ = ["decays_figure", "files_of", "fitness_figure", "front_figure", "genes_figure", "network_figure",
           "parallel_figure", "paths_figure", "simulated_figure"]
