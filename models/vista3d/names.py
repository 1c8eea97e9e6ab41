"""The published class names, in the order of their ids from 1 (configs/metadata.json and configs/label_dict.json)."""

from __future__ import annotations

_NAMES = """
liver; kidney; spleen; pancreas; right kidney; aorta; inferior vena cava; right adrenal gland; left adrenal gland;
gallbladder; esophagus; stomach; duodenum; left kidney; bladder; prostate or uterus; portal vein and splenic vein;
rectum; small bowel; lung; bone; brain; lung tumor; pancreatic tumor; hepatic vessel; hepatic tumor; colon cancer
primaries; left lung upper lobe; left lung lower lobe; right lung upper lobe; right lung middle lobe; right lung
lower lobe; vertebrae L5; vertebrae L4; vertebrae L3; vertebrae L2; vertebrae L1; vertebrae T12; vertebrae T11;
vertebrae T10; vertebrae T9; vertebrae T8; vertebrae T7; vertebrae T6; vertebrae T5; vertebrae T4; vertebrae T3;
vertebrae T2; vertebrae T1; vertebrae C7; vertebrae C6; vertebrae C5; vertebrae C4; vertebrae C3; vertebrae C2;
vertebrae C1; trachea; left iliac artery; right iliac artery; left iliac vena; right iliac vena; colon; left rib 1;
left rib 2; left rib 3; left rib 4; left rib 5; left rib 6; left rib 7; left rib 8; left rib 9; left rib 10; left
rib 11; left rib 12; right rib 1; right rib 2; right rib 3; right rib 4; right rib 5; right rib 6; right rib 7;
right rib 8; right rib 9; right rib 10; right rib 11; right rib 12; left humerus; right humerus; left scapula; right
scapula; left clavicula; right clavicula; left femur; right femur; left hip; right hip; sacrum; left gluteus
maximus; right gluteus maximus; left gluteus medius; right gluteus medius; left gluteus minimus; right gluteus
minimus; left autochthon; right autochthon; left iliopsoas; right iliopsoas; left atrial appendage; brachiocephalic
trunk; left brachiocephalic vein; right brachiocephalic vein; left common carotid artery; right common carotid
artery; costal cartilages; heart; left kidney cyst; right kidney cyst; prostate; pulmonary vein; skull; spinal cord;
sternum; left subclavian artery; right subclavian artery; superior vena cava; thyroid gland; vertebrae S1; bone
lesion; kidney mass; liver tumor; vertebrae L6; airway; fibula; intervertebral discs; left lung; right lung; left
quadriceps femoris; right quadriceps femoris; left sartorius; right sartorius; left thigh medial compartment; right
thigh medial compartment; left thigh posterior compartment; right thigh posterior compartment; tibia; vertebrae;
prostate transitional zone; prostate peripheral zone; left atrium; white matter hyperintensity; left ventricle;
right ventricle; right atrium; left ventricle myocardium; ascending aorta; muscles; fat; abdominal tissue;
mediastinal tissue; gonads; uterocervix; uterus; breast left; breast right; thyroid left; thyroid right; thymus;
skin; heart tissue; celiac trunk; pulmonary artery; cheek left; cheek right; eyeball left; eyeball right; brain
tumor; chiasm; left temporal lobe; right temporal lobe; left eye; right eye; left lens; right lens; left optic
nerve; right optic nerve; left middle ear; right middle ear; left internal auditory canal; right internal auditory
canal; left tympanic cavity; right tympanic cavity; left vestibular semicircular canals; right vestibular
semicircular canals; left cochlea; right cochlea; left ethmoid bone; right ethmoid bone; pituitary; oral cavity;
left mandible; right mandible; left submandibular; right submandibular; left parotid; right parotid; left mastoid;
right mastoid; left temporomandibular joint; right temporomandibular joint; larynx; larynx glottic; larynx
supraglot; pharynxConst; 3rd-Ventricle; 4th-Ventricle; Right-Accumbens-Area; Left-Accumbens-Area; Right-Amygdala;
Left-Amygdala; Brain-Stem; Right-Caudate; Left-Caudate; Right-Cerebellum-Exterior; Left-Cerebellum-Exterior;
Right-Cerebellum-White-Matter; Left-Cerebellum-White-Matter; Right-Cerebral-White-Matter;
Left-Cerebral-White-Matter; Right-Hippocampus; Left-Hippocampus; Right-Inf-Lat-Vent; Left-Inf-Lat-Vent;
Right-Lateral-Ventricle; Left-Lateral-Ventricle; Right-Pallidum; Left-Pallidum; Right-Putamen; Left-Putamen;
Right-Thalamus-Proper; Left-Thalamus-Proper; Right-Ventral-DC; Left-Ventral-DC; Cerebellar-Vermal-Lobules-I-V;
Cerebellar-Vermal-Lobules-VI-VII; Cerebellar-Vermal-Lobules-VIII-X; Left-Basal-Forebrain; Right-Basal-Forebrain;
Right-ACgG--anterior-cingulate-gyrus; Left-ACgG--anterior-cingulate-gyrus; Right-AIns--anterior-insula;
Left-AIns--anterior-insula; Right-AOrG--anterior-orbital-gyrus; Left-AOrG--anterior-orbital-gyrus;
Right-AnG---angular-gyrus; Left-AnG---angular-gyrus; Right-Calc--calcarine-cortex; Left-Calc--calcarine-cortex;
Right-CO----central-operculum; Left-CO----central-operculum; Right-Cun---cuneus; Left-Cun---cuneus;
Right-Ent---entorhinal-area; Left-Ent---entorhinal-area; Right-FO----frontal-operculum;
Left-FO----frontal-operculum; Right-FRP---frontal-pole; Left-FRP---frontal-pole; Right-FuG---fusiform-gyrus;
Left-FuG---fusiform-gyrus; Right-GRe---gyrus-rectus; Left-GRe---gyrus-rectus; Right-IOG---inferior-occipital-gyrus;
Left-IOG---inferior-occipital-gyrus; Right-ITG---inferior-temporal-gyrus; Left-ITG---inferior-temporal-gyrus;
Right-LiG---lingual-gyrus; Left-LiG---lingual-gyrus; Right-LOrG--lateral-orbital-gyrus;
Left-LOrG--lateral-orbital-gyrus; Right-MCgG--middle-cingulate-gyrus; Left-MCgG--middle-cingulate-gyrus;
Right-MFC---medial-frontal-cortex; Left-MFC---medial-frontal-cortex; Right-MFG---middle-frontal-gyrus;
Left-MFG---middle-frontal-gyrus; Right-MOG---middle-occipital-gyrus; Left-MOG---middle-occipital-gyrus;
Right-MOrG--medial-orbital-gyrus; Left-MOrG--medial-orbital-gyrus; Right-MPoG--postcentral-gyrus;
Left-MPoG--postcentral-gyrus; Right-MPrG--precentral-gyrus; Left-MPrG--precentral-gyrus;
Right-MSFG--superior-frontal-gyrus; Left-MSFG--superior-frontal-gyrus; Right-MTG---middle-temporal-gyrus;
Left-MTG---middle-temporal-gyrus; Right-OCP---occipital-pole; Left-OCP---occipital-pole;
Right-OFuG--occipital-fusiform-gyrus; Left-OFuG--occipital-fusiform-gyrus; Right-OpIFG-opercular-part-of-the-IFG;
Left-OpIFG-opercular-part-of-the-IFG; Right-OrIFG-orbital-part-of-the-IFG; Left-OrIFG-orbital-part-of-the-IFG;
Right-PCgG--posterior-cingulate-gyrus; Left-PCgG--posterior-cingulate-gyrus; Right-PCu---precuneus;
Left-PCu---precuneus; Right-PHG---parahippocampal-gyrus; Left-PHG---parahippocampal-gyrus;
Right-PIns--posterior-insula; Left-PIns--posterior-insula; Right-PO----parietal-operculum;
Left-PO----parietal-operculum; Right-PoG---postcentral-gyrus; Left-PoG---postcentral-gyrus;
Right-POrG--posterior-orbital-gyrus; Left-POrG--posterior-orbital-gyrus; Right-PP----planum-polare;
Left-PP----planum-polare; Right-PrG---precentral-gyrus; Left-PrG---precentral-gyrus; Right-PT----planum-temporale;
Left-PT----planum-temporale; Right-SCA---subcallosal-area; Left-SCA---subcallosal-area;
Right-SFG---superior-frontal-gyrus; Left-SFG---superior-frontal-gyrus; Right-SMC---supplementary-motor-cortex;
Left-SMC---supplementary-motor-cortex; Right-SMG---supramarginal-gyrus; Left-SMG---supramarginal-gyrus;
Right-SOG---superior-occipital-gyrus; Left-SOG---superior-occipital-gyrus; Right-SPL---superior-parietal-lobule;
Left-SPL---superior-parietal-lobule; Right-STG---superior-temporal-gyrus; Left-STG---superior-temporal-gyrus;
Right-TMP---temporal-pole; Left-TMP---temporal-pole; Right-TrIFG-triangular-part-of-the-IFG;
Left-TrIFG-triangular-part-of-the-IFG; Right-TTG---transverse-temporal-gyrus; Left-TTG---transverse-temporal-gyrus
"""

NAMES = tuple(" ".join(name.split()) for name in _NAMES.split(";"))  # 345; the CT model knows the first 132
